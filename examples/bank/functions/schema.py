"""Accounts hold whole cents; a transfer is kept for ever."""

from runtime import define_schema, define_table, v

schema = define_schema(
    {
        "accounts": define_table({"owner": v.string(), "deposit": v.number(), "balance": v.number()}).index(
            "by_owner", ["owner"]
        ),
        "transfers": define_table({"source": v.id("accounts"), "target": v.id("accounts"), "cents": v.number()})
        .index("by_source", ["source"])
        .index("by_target", ["target"]),
    }
)
