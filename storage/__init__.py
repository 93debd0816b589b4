"""What is true: tables, migrations and guarded transactions. Knows neither the contract nor the solver."""
