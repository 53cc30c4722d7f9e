"""An agent with the tools of a team whose code it does not have, and with no person to confirm its effects."""

from graphmesh_nodes import GraphmeshChatModel, service, tools
from langchain.agents import create_agent

RetailService = service("acme.retail.v1.RetailService")

graph = create_agent(GraphmeshChatModel(), tools(RetailService))
