"""What the API answers, as models: for the OpenAPI document, and for the tests that hold the answers to it."""
