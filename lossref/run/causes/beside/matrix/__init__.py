"""Many implementations beside each other: releases of a package, or packages, each asked every spec."""
