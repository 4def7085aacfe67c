/** Pictures that carry no program and are loaded from nowhere. */
export const SAFE_IMAGE = /^data:image\/(png|jpeg|gif|webp|avif);base64,[a-z0-9+/=\s]+$/i;
