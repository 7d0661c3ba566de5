"""How are knocks, the agenda and errands kept in Redis, and which Redis is it?"""
