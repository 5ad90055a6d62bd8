"""From verdicts and records to what people read. Formats decide nothing: every number comes from a value given."""
