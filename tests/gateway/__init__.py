"""The gateway, judged from outside: real uvicorn, real children, the real control plane, real SDK clients."""
