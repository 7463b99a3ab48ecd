"""Which cases are recorded, drawn, worked by hand or of full size, and what each flag is for."""
