"""An agent of LangChain over the mesh, with every guard: a place to start from."""
