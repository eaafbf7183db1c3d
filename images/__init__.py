"""What an image is and what may happen to it: records, rules, stores. No web, no workflow."""
