"""Review: what people say of incidents: claims, verdicts, second opinions, and what they agree on."""
