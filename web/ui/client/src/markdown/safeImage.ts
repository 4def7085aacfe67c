/** Images that are part of the text, in formats that cannot contain scripts. */
export const SAFE_IMAGE = /^data:image\/(png|jpeg|gif|webp|avif);base64,[a-z0-9+/=\s]+$/i;
