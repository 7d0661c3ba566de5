"use node"

from runtime import internal_action


@internal_action
async def hello(ctx, name: str) -> str:
    return f"Hello, {name}!"
