"""What is kept? Links, found by their names."""

from runtime import define_schema, define_table, v

schema = define_schema({"links": define_table({"slug": v.string(), "url": v.string()}).index("by_slug", ["slug"])})
