"""What `hemline data ...` does: stats, show, check, convert. Nothing else of Hemline needs it."""
