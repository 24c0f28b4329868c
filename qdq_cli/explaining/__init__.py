"""What every rule, finding and reason means, why it is so, an example and what to do; docs/ is written from here."""
