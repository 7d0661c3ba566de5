"""Rooms, and what was said in them."""

from runtime import define_schema, define_table, v

schema = define_schema(
    {
        "rooms": define_table({"name": v.string()}).index("by_name", ["name"]),
        "messages": define_table({"room": v.id("rooms"), "author": v.string(), "body": v.string()}).index(
            "by_room", ["room"]
        ),
    }
)
