"""An MCP server made with the SDK that has a bit of everything: a tool, a prompt, a resource, a template, completion."""

from __future__ import annotations

from mcp.server.mcpserver import MCPServer
from mcp_types import Completion, CompletionArgument, CompletionContext, PromptReference, ResourceTemplateReference
from starlette.applications import Starlette

BOOKS = {"dune": "Arrakis", "dubliners": "Eveline", "emma": "Highbury"}


def build_server() -> MCPServer[None]:
    """The server."""
    server: MCPServer[None] = MCPServer("library")

    @server.tool()
    def count() -> int:
        """How many books there are."""
        return len(BOOKS)

    @server.prompt(title="Recommend a book")
    def recommend(mood: str) -> str:
        """Ask for a book."""
        return f"Recommend a book for somebody who feels {mood}."

    @server.resource("library://shelf", mime_type="text/plain")
    def shelf() -> str:
        """All titles."""
        return "\n".join(BOOKS)

    @server.resource("library://books/{title}")
    def book(title: str) -> str:
        """Where one book plays."""
        return BOOKS[title]

    @server.completion()  # type: ignore[no-untyped-call, untyped-decorator]
    async def complete(
        ref: PromptReference | ResourceTemplateReference, argument: CompletionArgument, context: CompletionContext | None
    ) -> Completion | None:
        if isinstance(ref, ResourceTemplateReference) and ref.uri == "library://books/{title}":
            return Completion(values=[title for title in BOOKS if title.startswith(argument.value)])
        return None

    return server


def build_app() -> Starlette:
    """The server as an ASGI application with its own lifespan; its endpoint is ``/mcp``."""
    return build_server().streamable_http_app()


if __name__ == "__main__":
    build_server().run("stdio")
