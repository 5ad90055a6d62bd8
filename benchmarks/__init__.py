"""Programs that measure what the documentation says of this tool: what it costs, and how often it errs."""
