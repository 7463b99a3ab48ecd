"""From failing rows to their causes: settings that a target follows, small cases, explanations."""
