"""What a person takes away: one page that shows what runs say, and needs no network."""
