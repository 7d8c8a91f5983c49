"""The local page and the HTTP API: requests, decoding in processes of their own, batches, answers."""
