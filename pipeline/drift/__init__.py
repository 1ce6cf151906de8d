"""How far one set of rows lies from another, feature by feature, and how far is too far."""
