"""How closely the runtime keeps the times that the drive and the links are emulated with."""
