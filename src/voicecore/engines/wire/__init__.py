"""How adapters reach providers: HTTP and WebSockets with deadlines, bounds, one kind of error."""
