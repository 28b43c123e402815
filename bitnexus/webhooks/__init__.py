"""Signed webhooks: what the ledger recorded, told to internal services by HTTP (docs/webhooks.md)."""
