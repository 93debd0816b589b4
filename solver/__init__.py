"""Pure decisions on frozen data. Knows no database, no contract, no clock."""
