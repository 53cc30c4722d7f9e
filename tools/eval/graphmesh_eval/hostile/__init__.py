"""A model double that answers the worst that its schema and its tools allow, as a server of OpenAI's protocol."""
