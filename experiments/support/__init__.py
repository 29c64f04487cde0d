"""What every experiment uses: errors, random numbers, devices, files that outlive a kill, tables and pictures."""
