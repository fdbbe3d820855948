"""The calls of the platform as conversations of requests, apart from how they are sent."""
