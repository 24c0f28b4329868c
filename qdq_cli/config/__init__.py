"""Everything a run can be told, as frozen records with working defaults."""
