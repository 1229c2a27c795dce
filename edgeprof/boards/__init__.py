"""Where networks run: board files, and what is detected of this machine."""
