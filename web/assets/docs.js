SwaggerUIBundle({
  url: new URL("../api/openapi.json", document.currentScript.src).pathname,
  dom_id: "#swagger-ui",
  deepLinking: true,
  displayRequestDuration: true,
  docExpansion: "none",
  tryItOutEnabled: true,
  persistAuthorization: false,
});
