"""The API described from the code's own facts: the OpenAPI document, and the page that people read."""
