"""What the words of an article say: good or bad news, of which coins, and whose story."""
