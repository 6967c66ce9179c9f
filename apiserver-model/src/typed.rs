//! Objects by their schema, as server-side apply sees them.
