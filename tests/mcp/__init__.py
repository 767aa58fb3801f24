"""The MCP server, through the SDK's own client: in this process, and as a child over standard streams."""
