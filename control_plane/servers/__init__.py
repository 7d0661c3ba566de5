"""What does a server process listen on?"""
