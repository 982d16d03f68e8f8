"""The kinds of bodies that POST /classify takes, as their Content-Type names them."""

PICTURES = ("image/png", "image/jpeg", "image/webp", "image/bmp", "image/gif")
FORM, JSON, RAW = "multipart/form-data", "application/json", "application/octet-stream"
MEDIA_TYPES = (*PICTURES, FORM, JSON, RAW)

FILE_FIELDS = ("images", "image")  # of a form
