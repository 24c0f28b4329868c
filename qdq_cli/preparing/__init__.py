"""Any exported model into the one spelling that planning, observing and inspection expect."""
