//! Units: what they say and what systemd says of them.
