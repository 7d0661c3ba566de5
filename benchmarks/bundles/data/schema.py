"""What the figures of the data half are measured on."""

from runtime import define_schema, define_table, v

schema = define_schema(
    {
        "messages": define_table({"author": v.string(), "body": v.string()}),
        "items": define_table({"group": v.number(), "text": v.string()}).index("by_group", ["group"]),
        "accounts": define_table({"number": v.number(), "balance": v.number()}).index("by_number", ["number"]),
        "said": define_table({"room": v.string(), "body": v.string()}).index("by_room", ["room"]),
    }
)
