"""How a recorded corpus is changed on purpose: recorded beside it, reviewed case by case, replaced in one step."""
