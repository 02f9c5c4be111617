"""Who may call, and how long a page may be."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Query

from libs.common.auth import Principal, requires

Reading = Annotated[Principal, Depends(requires("contacts:read"))]
Writing = Annotated[Principal, Depends(requires("contacts:write"))]
Operating = Annotated[Principal, Depends(requires("ops"))]
MOST = 1000
Limit = Annotated[int, Query(ge=1, le=MOST)]
