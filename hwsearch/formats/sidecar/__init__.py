"""Files that go beside a network: encodings, tables, configurations of other tools."""
