// The piece of a plane that is transformed.
#pragma once

struct WindowParams {
    unsigned planes, height, width, top, left, rows, columns, reserved;
    double total;
};
LOCKSTEP_PARAMS(WindowParams, 40);
