"""What befalls one loop of a process: its listener loses its connection, or everything waits for a blocked one."""
