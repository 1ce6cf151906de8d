"""What all tests share: how hypothesis searches."""

from hypothesis import settings

# A deadline is a timing assertion, and this machine may be busy.
settings.register_profile("headrace", deadline=None, max_examples=60, print_blob=True)
settings.load_profile("headrace")
