"""The sql service: describes a database's schema, and runs read-only SELECT queries over it."""
