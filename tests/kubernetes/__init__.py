"""An installation in a cluster: what the bootstrap Job does, and what the manifests say."""
