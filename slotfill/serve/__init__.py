"""`slotfill serve`: runs behind HTTP. Needs FastAPI: pip install 'slotfill[serve]'"""
